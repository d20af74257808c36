import numpy as np

from nnjax.recognition.straight_lines import remove_straight_lines


def picture_of(*corners: tuple[int, int]) -> np.ndarray:
    """Frames of 40 pixels with these corners (top, left), each with a bar in it."""
    mask = np.zeros((100, 200), bool)
    for top, left in corners:
        mask[top : top + 40, left : left + 40] = True
        mask[top + 2 : top + 38, left + 2 : left + 38] = False
        mask[top + 10 : top + 30, left + 18 : left + 22] = True
    return mask


def test_frames_are_removed_and_their_content_is_not():
    rest = remove_straight_lines(picture_of((10, 10), (40, 120)))
    expected = np.zeros((100, 200), bool)
    expected[20:40, 28:32] = expected[50:70, 138:142] = True
    np.testing.assert_array_equal(rest, expected)


def test_lines_of_equal_components_are_found_once():
    found = {}
    remove_straight_lines(picture_of((10, 10)), found)
    assert len(found) == 2  # the frame and the bar
    other = picture_of((40, 120), (50, 20))
    other[5, 5:190] = True  # a ruled line
    expected = remove_straight_lines(other)
    np.testing.assert_array_equal(remove_straight_lines(other, found), expected)
    assert len(found) == 3
